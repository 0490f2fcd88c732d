"""The commands of `odograph`, a module each. `odograph.cli.group` lists them and imports one when called."""
