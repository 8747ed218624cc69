"""The networks of StyleGAN (gan_jax/gans/stylegan.py) in PyTorch, with which `stylegan_step.py` compares.

The same layers in the same order, NCHW: all parameters, all noise maps, both ways of the level that fades in. Of the
layers to RGB only the two that an image is made of are asked; a compiler leaves out the others by itself.
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

ROOT_2 = 2.0**0.5


def leaky(x):
    return functional.leaky_relu(x, 0.2)


def spread(kernel):
    """The sum of the four shifts of a 3x3 kernel: 4x4."""
    k = functional.pad(kernel, (1, 1, 1, 1))
    return k[:, :, 1:, 1:] + k[:, :, :-1, 1:] + k[:, :, 1:, :-1] + k[:, :, :-1, :-1]


def same(x, kernel):
    return functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)


def up(x, kernel):
    return same(functional.interpolate(x, scale_factor=2), kernel)


def down(x, kernel):
    return functional.avg_pool2d(same(x, kernel), 2)


def fused_up(x, kernel):
    return functional.conv_transpose2d(x, spread(kernel.flip(2, 3)).transpose(0, 1), stride=2, padding=1)


def fused_down(x, kernel):
    return functional.conv2d(x, spread(kernel) / 4, stride=2, padding=1)


class Scaled(nn.Module):
    """A layer with an equalised learning rate: `form(x, kernel)`, and a bias unless it is without one."""

    def __init__(self, form, shape, gain=ROOT_2, rate=1.0, bias=True):
        super().__init__()
        self.form, self.rate = form, rate
        self.scale = rate * gain / math.sqrt(math.prod(shape[1:]))
        self.kernel = nn.Parameter(torch.randn(shape) / rate)
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None

    def forward(self, x):
        y = self.form(x, self.scale * self.kernel)
        return y if self.bias is None else y + (self.rate * self.bias).reshape(-1, *[1] * (y.ndim - 2))


def dense(inputs, outputs, **settings):
    return Scaled(functional.linear, (outputs, inputs), **settings)


def conv(inputs, outputs, form=same, size=3, **settings):
    return Scaled(form, (outputs, inputs, size, size), **settings)


def smooth(x):
    """[1, 2, 1] along both sides."""
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(row, row).expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


class Mapping(nn.Sequential):
    def __init__(self, layers, size, rate):
        super().__init__(*(dense(size, size, rate=rate) for _ in range(layers)))

    def forward(self, z):
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self:
            w = leaky(layer(w))
        return w


class Layer(nn.Module):
    """Noise, bias, rectifier, instance norm, style."""

    def __init__(self, width, size):
        super().__init__()
        self.strength, self.bias = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))
        self.style = dense(size, 2 * width, gain=1.0)

    def noise(self, h):
        return torch.randn(len(h), 1, *h.shape[2:])

    def forward(self, h, w):
        h = functional.instance_norm(leaky(h + self.strength * self.noise(h) + self.bias), eps=1e-8)
        gain, bias = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return h * (1 + gain) + bias


class Generator(nn.Module):
    """z [B,Z] and the share of the level before the last to images. widths: of the levels, from 4x4 on."""

    def __init__(self, widths, latent, mapping_layers, rate, mixing, up):
        super().__init__()
        self.mixing, self.layers = mixing, 2 * len(widths)
        self.mapping = Mapping(mapping_layers, latent, rate)
        self.constant = nn.Parameter(torch.ones(1, widths[0], 4, 4))
        self.ups = nn.ModuleList(conv(a, b, up, bias=False) for a, b in itertools.pairwise(widths))
        self.convs = nn.ModuleList(conv(a, a, bias=False) for a in widths)
        self.ends = nn.ModuleList(Layer(a, latent) for a in widths for _ in range(2))
        self.to_rgb = nn.ModuleList(conv(a, 3, size=1, gain=1.0) for a in widths)
        self.register_buffer("mean", torch.zeros(latent))

    def forward(self, z, fade):
        w, second = self.mapping(z), self.mapping(torch.randn_like(z))
        self.mean = 0.995 * self.mean + 0.005 * w.detach().mean(0)
        mixed = torch.rand(()) < self.mixing
        crossover = torch.randint(1, self.layers, ()) if mixed else self.layers
        styles = [w if i < crossover else second for i in range(self.layers)]
        h = self.constant.expand(len(z), -1, -1, -1)
        for i, layer in enumerate(self.convs):
            old, h = h, smooth(self.ups[i - 1](h)) if i else h
            h = self.ends[2 * i](h, styles[2 * i])
            h = self.ends[2 * i + 1](layer(h), styles[2 * i + 1])
        before = functional.interpolate(self.to_rgb[-2](old), scale_factor=2)
        return (1 - fade) * self.to_rgb[-1](h) + fade * before


class Discriminator(nn.Module):
    """Images and the share of the level before the last to logits [B]."""

    def __init__(self, widths, hidden, group, down):
        super().__init__()
        pairs = list(reversed(list(itertools.pairwise(widths))))
        self.group = group
        self.from_rgb = nn.ModuleList(conv(3, a, size=1) for a in reversed(widths))
        self.convs = nn.ModuleList(conv(a, a) for _, a in pairs)
        self.downs = nn.ModuleList(conv(a, b, down) for b, a in pairs)
        self.last = conv(widths[0] + 1, widths[0])
        self.hidden, self.logit = dense(16 * widths[0], hidden), dense(hidden, 1, gain=1.0)

    def forward(self, x, fade):
        h = leaky(self.from_rgb[0](x))
        for i, (layer, down) in enumerate(zip(self.convs, self.downs, strict=True)):
            h = leaky(down(smooth(leaky(layer(h)))))
            if i == 0:
                h = (1 - fade) * h + fade * leaky(self.from_rgb[1](functional.avg_pool2d(x, 2)))
        spread = h.reshape(self.group, -1, *h.shape[1:]).var(0, unbiased=False)
        each = (spread + 1e-8).sqrt().mean((1, 2, 3)).tile(self.group)
        h = torch.cat([h, each[:, None, None, None].expand(-1, 1, *h.shape[2:])], dim=1)
        return self.logit(leaky(self.hidden(leaky(self.last(h)).flatten(1))))[:, 0]
