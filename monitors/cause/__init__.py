"""The cause of a finding, put together: what moved, since when, how, and what it cost."""
