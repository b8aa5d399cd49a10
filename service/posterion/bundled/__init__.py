"""Sample sets that ship with the package, and the recipes they were made with."""
