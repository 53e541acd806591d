"""The description of jobs, and of what monitoring asks."""

from __future__ import annotations

from gobbler.model.answers import ACTION_DOCS, Failure, HealthFound
from gobbler.model.jobs import JobState
from gobbler.service.openapi.schemas import (
    TEXT,
    Operation,
    json_response,
    operation,
    parameter,
    reference,
    response,
)

_JOB = parameter("job", "path", "The name of the job: `{user ID}-{name of the request file}`.")


def job_operation() -> Operation:
    """``GET /jobs/{job}``."""
    answers = {
        200: json_response("Its state, with the answer if it has ended.", reference(JobState))
    }
    return operation(
        "job",
        "jobs",
        "The state of a job",
        "Answers are kept for seven days. Anyone who knows the name of a job may read its state.",
        answers,
        (404,),
        (_JOB,),
    )


def events_operation() -> Operation:
    """``GET /jobs/{job}/events``."""
    return operation(
        "events",
        "jobs",
        "The state of a job as a stream",
        "Server-sent events: one at once, and one at each change. Each is named after the state "
        "and has it as JSON in its data. The stream ends with the job.",
        {
            200: response("The events.", "text/event-stream", TEXT),
            503: json_response(
                "As many streams are open as the service allows at a time, in all or for one "
                "client (code `busy`), or the service is stopping (code `stopping`).",
                reference(Failure),
            ),
        },
        (404,),
        (_JOB,),
    )


def cancel_operation() -> Operation:
    """``DELETE /jobs/{job}``."""
    return operation(
        "cancel",
        "jobs",
        "Cancel a job",
        "The service puts everything back. The job may still succeed if it is about to be "
        "published.",
        {200: json_response("The job is cancelled.", reference(ACTION_DOCS["cancel_job"].answer))},
        (400, 403, 404),
        (
            _JOB,
            parameter(
                "request",
                "query",
                "The name of a request file `request-cancel_job-{anything}` in staging that names "
                "the job, as `cancel_job` does. Its owner is the owner of the job or an "
                "administrator. Without it: 403.",
            ),
        ),
    )


def health_operation() -> Operation:
    """``GET /health``."""
    return operation(
        "health",
        "watching",
        "Whether the service can work now",
        "Probes the registry, staging and the spool: it reads each, and writes a small file where "
        "the service writes. A directory that does not answer within two seconds counts as "
        "unusable. Results are used again for a second.",
        {
            200: json_response("All can be used.", reference(HealthFound)),
            503: json_response(
                "Not all of them can be used (code `unhealthy`), or the service is stopping (code "
                "`stopping`).",
                reference(HealthFound),
            ),
        },
        (),
    )


def metrics_operation() -> Operation:
    """``GET /metrics``."""
    return operation(
        "metrics",
        "watching",
        "Metrics for Prometheus",
        "Sums over all processes of the service. No metric holds the name of a user, a project or "
        "a file. `Accept: application/openmetrics-text` asks for OpenMetrics.",
        {200: response("The metrics.", "text/plain", TEXT)},
        (),
    )
