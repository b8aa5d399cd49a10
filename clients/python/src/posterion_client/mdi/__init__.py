"""An MDI engine (MolSSI Driver Interface) whose forces are the service's.

`posterion-client mdi-engine -mdi "-role ENGINE -name posterion -method MPI"` answers a driver;
a driver that loads its engines as plugins finds one in `plugin_folder()`. Needs the packages
pymdi and numpy, and mpi4py for the methods MPI and LINK.
"""

from posterion_client.mdi._command_line import add_arguments, plugin_folder, run

__all__ = ["add_arguments", "plugin_folder", "run"]
