"""``python -m gobbler`` is the same as ``gobbler``."""

import gc
import signal


def run() -> None:
    """Run the command line.

    While that is loaded, Ctrl-C ends the process without a word, as SIGTERM does.
    """
    gc.disable()  # of what is loaded, nothing becomes garbage; enabled with the command
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gobbler.cli import main  # noqa: PLC0415 - this is what takes long

    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    main()


if __name__ == "__main__":
    run()
