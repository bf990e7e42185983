"""Pure planning: names, directories, environment, mounts and pods of a job."""
