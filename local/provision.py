"""Creates, from the manifest alone, what production has Terraform for: topics, subscriptions, tables.

Everything may be run again: what is there is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import grpc
from google.api_core.exceptions import AlreadyExists
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PushConfig, Subscription, Topic

from shared.manifest import Function, Manifest, Table, View, subscription_id
from shared.warehouse.client import view_statement

_PARALLEL_CALLS = 8
_T = TypeVar("_T")


def push_endpoint(base_url: str, *, function: str, project: str, topic: str) -> str:
    """Where a topic's messages are pushed to.

    The Functions Framework learns the topic of a raw push from ``projects/…/topics/…`` in the path.
    """
    return f"{base_url}/functions/{function}/projects/{project}/topics/{topic}"


def provision_messaging(
    manifest: Manifest, *, project: str, pubsub_host: str, push_base_url: str | None
) -> None:
    """Create every topic, its dead-letter topic, and every subscription.

    Args:
        manifest: what is deployed.
        project: the Google Cloud project.
        pubsub_host: ``host:port`` of the Pub/Sub emulator.
        push_base_url: where functions are served; None creates no push subscription.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: the emulator refused one.
    """
    provision_topics(manifest, project=project, pubsub_host=pubsub_host)
    provision_subscriptions(manifest, project=project, pubsub_host=pubsub_host, push_base_url=push_base_url)


def provision_topics(manifest: Manifest, *, project: str, pubsub_host: str) -> None:
    """The topics of :func:`provision_messaging` alone."""
    names = [name for topic in manifest.topics.values() for name in (topic.name, topic.dead_letter)]
    channel = grpc.insecure_channel(pubsub_host)
    with PublisherClient(transport=PublisherGrpcTransport(channel=channel)) as publisher:
        _create_all(
            publisher.create_topic, [Topic(name=f"projects/{project}/topics/{name}") for name in names]
        )


def provision_subscriptions(
    manifest: Manifest, *, project: str, pubsub_host: str, push_base_url: str | None
) -> None:
    """The subscriptions of :func:`provision_messaging` alone, to topics that are there."""
    channel = grpc.insecure_channel(pubsub_host)
    with SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)) as subscriber:
        _create_all(subscriber.create_subscription, _subscriptions(manifest, project, push_base_url))


def provision_warehouse(
    manifest: Manifest,
    *,
    project: str,
    bigquery_url: str,
    dataset: str,
    tables: Container[str] | None = None,
) -> None:
    """Create the dataset, its tables and its views; with ``tables``, only those of these names.

    The emulator makes no materialised views by the interface that Terraform uses: they are plain views here,
    which show the same.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: the emulator refused one.
    """
    client = bigquery.Client(
        project=project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": bigquery_url},
    )
    try:
        client.create_dataset(f"{project}.{dataset}", exists_ok=True)
        for table in manifest.warehouse.tables.values():
            if tables is None or table.name in tables:
                client.create_table(_table(table, f"{project}.{dataset}"), exists_ok=True)
        for view in manifest.warehouse.views.values():
            if tables is None or view.name in tables:
                client.create_table(_view(view, f"{project}.{dataset}"), exists_ok=True)
    finally:
        client.close()  # type: ignore[no-untyped-call]


def _subscriptions(manifest: Manifest, project: str, push_base_url: str | None) -> Iterable[Subscription]:
    for function in manifest.functions.values():
        for topic in function.pulls:
            yield _subscription(manifest, function, topic, project, push_endpoint=None)
        if push_base_url is None:
            continue
        pushed = list(function.topics)
        if function.receives_dead_letters:
            pushed += [topic.dead_letter for topic in manifest.topics.values()]
        for topic in pushed:
            endpoint = push_endpoint(push_base_url, function=function.name, project=project, topic=topic)
            yield _subscription(manifest, function, topic, project, push_endpoint=endpoint)


def _subscription(
    manifest: Manifest, function: Function, topic: str, project: str, *, push_endpoint: str | None
) -> Subscription:
    subscription = Subscription(
        name=f"projects/{project}/subscriptions/{subscription_id(function.name, topic)}",
        topic=f"projects/{project}/topics/{topic}",
        ack_deadline_seconds=function.ack_deadline_s,
    )
    # No retry policy and no dead-letter policy: the emulator loses messages with them, dead_lettering.py.
    if push_endpoint is not None:
        subscription.push_config = PushConfig(push_endpoint=push_endpoint)
        source = manifest.topics.get(topic)
        # Whoever pulls in batches does not ask for order.
        subscription.enable_message_ordering = source is not None and source.ordering_key is not None
    return subscription


def _table(table: Table, dataset: str) -> bigquery.Table:
    schema = [bigquery.SchemaField(column.name, column.type, column.mode) for column in table.columns]
    created = bigquery.Table(f"{dataset}.{table.name}", schema=schema)
    created.description = table.description
    created.time_partitioning = bigquery.TimePartitioning(field=table.partition)
    created.clustering_fields = list(table.cluster)
    return created


def _view(view: View, dataset: str) -> bigquery.Table:
    created = bigquery.Table(f"{dataset}.{view.name}")
    created.description = view.description
    created.view_query = view_statement(view.name, dataset)
    return created


def _create_all(create: Callable[[_T], object], wanted: Iterable[_T]) -> None:
    """Create several at once; what exists already is left as it is."""

    def create_one(each: _T) -> None:
        try:
            create(each)
        except AlreadyExists:
            return

    with ThreadPoolExecutor(_PARALLEL_CALLS) as pool:
        # A list, so that the first error is raised.
        list(pool.map(create_one, wanted))
