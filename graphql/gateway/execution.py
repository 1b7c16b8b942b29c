"""From a request to a response: parse, validate, limit, execute; every document prepared once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    create_source_event_stream,
    parse,
    validate,
)
from graphql.execution.collect_fields import collect_fields
from graphql.validation import specified_rules

from gateway.context import Context
from gateway.errors import ClientError, ErrorCode, LimitExceededError, format_errors
from gateway.limits import Limits, check_cost, check_document
from gateway.live.encoder import Encode, compile_encoder
from gateway.live.streams import LiveStream

Response = dict[str, Any]
"""A GraphQL response: ``data``, ``errors``."""

_PREPARED_DOCUMENTS = 1_000


class RequestError(Exception):
    """The request as a whole is refused: nothing was executed, and there is no ``data``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors

    @classmethod
    def of(cls, error: ClientError) -> RequestError:
        """The refusal that one error makes."""
        return cls([error.format()])


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """What a client asks."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


def parse_request(value: Any) -> GraphQLRequest:
    """A request from its JSON value.

    Raises:
        RequestError: naming the field that is missing or of a wrong type.
    """
    if not isinstance(value, dict):
        raise _bad_request("The request must be a JSON object; batches are not supported.", None)
    query = value.get("query")
    if not isinstance(query, str) or not query.strip():
        raise _bad_request("The field 'query' must be a non-empty string.", "query")
    variables = value.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise _bad_request("The field 'variables' must be an object or null.", "variables")
    operation_name = value.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise _bad_request("The field 'operationName' must be a string or null.", "operationName")
    extensions = value.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise _bad_request("The field 'extensions' must be an object or null.", "extensions")
    # Some clients send "" where they mean that the document has one operation.
    return GraphQLRequest(query, variables, operation_name or None)


def _bad_request(message: str, field: str | None) -> RequestError:
    extensions = {} if field is None else {"field": field}
    return RequestError.of(ClientError(ErrorCode.BAD_REQUEST, message, **extensions))


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that may be executed: limits checked, variables coerced."""

    executor: Executor[Any]
    kind: OperationType


@dataclass(frozen=True, slots=True)
class OpenSubscription:
    """A subscription's source and how its messages become the JSON text of ``data``."""

    stream: LiveStream[Any]
    encode: Encode


class Engine:
    """Executes requests against one schema under one set of limits."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._prepared: OrderedDict[str, DocumentNode | RequestError] = OrderedDict()

    def prepare(self, request: GraphQLRequest, context: Context) -> Operation:
        """Parse, validate and limit a request.

        Raises:
            RequestError: it cannot be executed; the errors say why.
        """
        document = self._document(request.query)
        executor = Executor.build(
            self._schema,
            document,
            context_value=context,
            raw_variable_values=request.variables,
            operation_name=request.operation_name,
        )
        if isinstance(executor, list):
            raise RequestError(format_errors(executor, ErrorCode.BAD_USER_INPUT))
        try:
            check_cost(
                self._schema, document, executor.operation, executor.variable_values.coerced, self._limits
            )
        except ClientError as error:
            raise RequestError.of(error) from error
        return Operation(executor, executor.operation.operation)

    def _document(self, query: str) -> DocumentNode:
        if len(query) > self._limits.query_characters:
            raise RequestError.of(
                LimitExceededError("query_characters", self._limits.query_characters, len(query))
            )
        known = self._prepared.get(query)
        if known is None:
            try:
                known = self._parse(query)
            except RequestError as error:
                known = error
            self._prepared[query] = known
            if len(self._prepared) > _PREPARED_DOCUMENTS:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(query)
        if isinstance(known, RequestError):
            raise known
        return known

    def _parse(self, query: str) -> DocumentNode:
        try:
            document = parse(query, max_tokens=self._limits.tokens)
            errors = validate(self._schema, document, specified_rules)
            if errors:
                raise RequestError(format_errors(errors, ErrorCode.VALIDATION_FAILED))
            check_document(document, self._limits)
        except GraphQLError as error:
            if "Parsing aborted" in error.message:
                raise RequestError.of(LimitExceededError("tokens", self._limits.tokens)) from None
            raise RequestError(format_errors([error], ErrorCode.PARSE_FAILED)) from None
        except RecursionError:
            raise RequestError.of(LimitExceededError("depth", self._limits.depth)) from None
        except ClientError as error:
            raise RequestError.of(error) from error
        return document

    async def execute(self, operation: Operation) -> Response:
        """Run a query."""
        result = operation.executor.execute_operation(False)
        if operation.executor.is_awaitable(result):
            result = await cast("Awaitable[ExecutionResult]", result)
        return _response(cast("ExecutionResult", result))

    async def subscribe(self, operation: Operation) -> OpenSubscription:
        """Open a subscription.

        Raises:
            RequestError: it was refused; the errors say why.
        """
        self._check_single_field(operation)
        source = create_source_event_stream(operation.executor)
        if operation.executor.is_awaitable(source):
            source = await cast("Awaitable[AsyncIterable[Any] | ExecutionResult]", source)
        if isinstance(source, ExecutionResult):
            raise RequestError(format_errors(source.errors or [], ErrorCode.BAD_USER_INPUT))
        stream = cast("LiveStream[Any]", source)
        try:
            return OpenSubscription(stream, compile_encoder(operation.executor))
        except BaseException:
            stream.close()
            raise

    def _check_single_field(self, operation: Operation) -> None:
        # The validation rule looks at the document; @include and @skip decide with the variables.
        executor = operation.executor
        root = self._schema.subscription_type
        assert root is not None
        fields = collect_fields(
            self._schema, executor.fragments, executor.variable_values, root, executor.operation
        ).grouped_field_set
        names = [details[0].node.name.value for details in fields.values()]
        if len(names) != 1 or names[0].startswith("__"):
            raise RequestError.of(
                ClientError(ErrorCode.VALIDATION_FAILED, "A subscription must select exactly one root field.")
            )


def _response(result: ExecutionResult) -> Response:
    response: Response = {"data": result.data}
    if result.errors:
        response["errors"] = format_errors(result.errors, ErrorCode.BAD_USER_INPUT)
    return response
