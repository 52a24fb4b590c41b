"""How is it made? Jobs, shards, samples, the runner, the workspace, and publishing."""
