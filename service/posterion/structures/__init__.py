"""Plain data: structures in, predictions out. numpy only."""
