"""The node health agent's parts: reading a node's GPUs, judging what was read, and what that means for the node."""
