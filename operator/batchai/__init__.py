"""Batch AI for Kubernetes: an operator and a command line for training jobs."""
