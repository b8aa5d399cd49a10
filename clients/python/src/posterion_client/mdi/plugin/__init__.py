"""The folder that an MDI driver is given as ``-plugin_path``."""
