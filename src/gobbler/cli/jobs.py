"""``gobbler jobs``: list, follow or cancel your jobs."""

from __future__ import annotations

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.errors import Cancelled, Code
from gobbler.model.jobs import JobState

_job = click.argument("job")


@click.group("jobs")
def command() -> None:
    """List, follow or cancel your jobs.

    A job is a request that no command waits for: see 'gobbler upload --no-wait'. It continues
    when you log out, and when the service restarts. JOB is its name in 'gobbler jobs ls', or
    the name of the request file. The service keeps answers for seven days.

    \b
    Examples:
      gobbler upload --no-wait ./results weather/stations/1.3
      gobbler jobs ls
      gobbler jobs follow 1000-request-upload-9ab1...
      gobbler jobs cancel 1000-request-upload-9ab1...
    """


@command.command("ls")
@click.option(
    "--all", "all_users", is_flag=True, help="List the jobs of all users (administrators)."
)
@common.as_json
@common.requests
def ls(client: Client, all_users: bool, as_json: bool) -> None:
    """List jobs, the oldest first.

    \b
    Examples:
      gobbler jobs ls
      gobbler jobs ls --json | jq '.[] | select(.state == "failed") | .reason'
    """
    jobs = [job for job in client.jobs.list(all_users=all_users) if job.action != "list_jobs"]
    jobs.sort(key=lambda job: job.submitted)
    if as_json:
        terminal.print_json(jobs)
        return
    rows = [
        (job.job, job.user, job.action, job.address, job.state, job.submitted, _details(job))
        for job in jobs
    ]
    terminal.print_table(("job", "user", "action", "address", "state", "submitted", ""), rows)


@command.command()
@_job
@common.as_json
@common.requests
def show(client: Client, job: str, as_json: bool) -> None:
    """Show the state of a job, and its answer.

    \b
    Example:
      gobbler jobs show 1000-request-upload-9ab1...
    """
    state = client.jobs.get(job).state()
    if as_json:
        terminal.print_json(state)
        return
    facts = [
        ("job", state.job),
        ("action", state.action),
        ("address", state.address),
        ("state", state.state),
        ("submitted", state.submitted),
        ("started", state.started or ""),
        ("finished", state.finished or ""),
        ("", _details(state)),
    ]
    terminal.print_facts([fact for fact in facts if fact[1]])


@command.command()
@_job
@common.as_json
@common.requests
def follow(client: Client, job: str, as_json: bool) -> None:
    """Wait until a job ends. The exit code is that of the request.

    Ctrl-C ends the wait, and the job continues.

    \b
    Example:
      gobbler jobs follow 1000-request-upload-9ab1...
    """
    handle = client.jobs.get(job)
    from gobbler.cli.progress_bar import Bar

    with Bar(f"job {handle.name}") as bar:
        handle.wait(progress=bar)
    if as_json:
        terminal.print_json(handle.state())
    else:
        click.echo(f"done {terminal.printable(handle.name)}")


@command.command()
@_job
@common.as_json
@common.requests
def cancel(client: Client, job: str, as_json: bool) -> None:
    """Cancel a job. It changes nothing then.

    A job that is just being published can still succeed: check its state.

    \b
    Example:
      gobbler jobs cancel 1000-request-upload-9ab1...
    """
    state = client.jobs.get(job).cancel()
    if as_json:
        terminal.print_json(state)
    elif state.state == "cancelled":
        click.echo(f"cancelled {terminal.printable(state.job)}")
    else:
        raise Cancelled(
            f"job {state.job} can't be cancelled: it is {state.state}",
            code=Code.JOB_ENDED,
        )


def _details(job: JobState) -> str:
    """The reason or the progress of a job."""
    if isinstance(job.answer, dict):
        return str(job.answer.get("reason", ""))
    if isinstance(job.reason, str):
        return job.reason
    progress = job.progress
    if progress.files_expected is None:
        return progress.waits_for or ""
    done = f"{progress.files} of {progress.files_expected} files, {terminal.size(progress.bytes)}"
    if progress.waits_for:
        return f"{done}; {progress.waits_for}"
    if progress.seconds_left is None or job.is_final:
        return done
    return f"{done}, {progress.seconds_left:.0f} s left"
