"""The stream as a job of Flink's own: its Kafka source and sink, its state, our functions.

`clock`, `intake` and `windows` know nothing of Flink; `functions` hands them its state and timers,
`graph` puts the job together, `submit` sends it to a cluster. The workers' environment has older
libraries than ours: see `deploy/flink/requirements.txt`.
"""
