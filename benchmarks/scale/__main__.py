"""``python -m benchmarks.scale``"""
import argparse, os
import django


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
    from core import embedded

    embedded.start_configured()
    django.setup()
    from . import build

    build.use("scale", options.rows)


if __name__ == "__main__":
    main()
