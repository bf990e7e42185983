"""Pure status: what was observed → what a resource's status says."""
