"""Batch AI's resources as pydantic models, and the generator of their CRDs."""
