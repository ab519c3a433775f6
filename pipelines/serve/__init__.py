"""`tidegauge serve`: metrics for Prometheus, of a run or a topic, and the pages of findings."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from pipelines.serve.access import Guard
from pipelines.serve.links import pages_of
from pipelines.serve.run_source import RunSource
from pipelines.serve.server import Source, listen_on
from pipelines.serve.topic_source import TopicSource
from schemas.stream import Stream

__all__ = ["Guard", "open_server", "serve", "serve_topic"]


def serve(
    run_folder: Path,
    listen: str,
    allow: Collection[str] = (),
    *,
    wait: bool = False,
    guard: Guard | None = None,
    url: str | None = None,
    baseline: Path | None = None,
) -> None:
    """Serve the metrics of a run folder, and the pages of its findings, until interrupted.

    Parameters
    ----------
    listen : ``host:port``.
    allow : features that have a series of their own whatever their score.
    wait : start without a run, and be ready when there is one; else that is an error.
    guard : who may ask, and how; anyone over plain HTTP when left out.
    url : by which others reach the server, for the links to its pages; by what it listens on when
        left out.
    baseline : folder of the run's baselines; where it was when the run was made when left out.

    Raises
    ------
    OutputError
        When the folder is no run, the URL is none, the address cannot be listened on, or a file of
        the guard cannot be used.
    """
    pages = pages_of(url, listen, guard)
    source = RunSource(run_folder, allow, wait=wait, pages=pages, baseline=baseline)
    _serve(source, listen, guard)


def serve_topic(
    stream: Stream,
    listen: str,
    allow: Collection[str] = (),
    *,
    wait: bool = False,
    guard: Guard | None = None,
) -> None:
    """Serve what the findings in a topic of Kafka say of a stream, until interrupted.

    The topic is that of `sinks.kafka.findings` in the stream file, and is read from its beginning.

    Parameters
    ----------
    listen, allow, guard : see `serve`.
    wait : start without brokers or topic, and be ready once it has been read.

    Raises
    ------
    SourceError
        When the stream file names no such topic, or the topic cannot be read.
    OutputError
        When the address cannot be listened on, or a file of the guard cannot be used.
    """
    _serve(TopicSource(stream, allow, wait=wait), listen, guard)


def open_server(
    run_folder: Path,
    listen: str,
    allow: Collection[str] = (),
    *,
    wait: bool = False,
    guard: Guard | None = None,
    url: str | None = None,
    baseline: Path | None = None,
) -> WSGIServer:
    """Return the server of `serve`, listening but not yet answering."""
    pages = pages_of(url, listen, guard)
    source = RunSource(run_folder, allow, wait=wait, pages=pages, baseline=baseline)
    return listen_on(source, listen, guard)


def _serve(source: Source, listen: str, guard: Guard | None) -> None:
    try:
        with listen_on(source, listen, guard) as server:
            host, port = server.server_address[:2]
            host = f"[{host!s}]" if ":" in str(host) else host
            scheme = "http" if guard is None or guard.certificate is None else "https"
            sys.stderr.write(f"serving {scheme}://{host!s}:{port}/metrics\n")
            server.serve_forever()
    except KeyboardInterrupt:
        return
    finally:
        source.close()
