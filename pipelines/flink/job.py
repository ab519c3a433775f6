"""What the `flink` command runs; it imports this file under another name."""

from pipelines.flink.graph import main

main()
