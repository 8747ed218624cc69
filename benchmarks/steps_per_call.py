"""What several steps in one compiled call bring to a small network.

    python benchmarks/steps_per_call.py

Steps per second of experiments/gan.py in the training loop, for several values of `steps_per_call`, measured in turns
in this one run, as benchmarks/loop_overhead.py does. What is learned is the same for all of them.
"""

import statistics

from absl import flags
from loop_overhead import configure, heading, loop_times

from gan_jax import parallel

SIZES = (1, 5, 25, 100)
TURNS = 2


def main() -> None:
    flags.FLAGS.mark_as_parsed()
    parallel.initialize()
    print(heading())
    times = {size: [] for size in SIZES}
    for _ in range(TURNS):
        for size in SIZES:
            config = configure("gan", log_every=300, steps_per_call=size)
            times[size] += [seconds for seconds, _ in loop_times(config)]
    rates = {size: 1 / statistics.median(found) for size, found in times.items()}
    print(f"{'steps_per_call':<16}{'steps/s':>10}{'ratio':>8}")
    for size, rate in rates.items():
        print(f"{size:<16}{rate:>10.0f}{rate / rates[SIZES[0]]:>8.2f}")


if __name__ == "__main__":
    main()
