"""`python -m patina` is the command `patina`."""

from patina.flows.cli.main import main

main()
