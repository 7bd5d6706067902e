"""The farm as a user sees it: what it can render, the user's tasks, and what becomes of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath

import requests

from renderonline import wire
from renderonline.client import archive
from renderonline.client import bundle as bundles
from renderonline.client.bundle import Bundle, complete
from renderonline.client.errors import ClientError, Refused, Unusable, not_written
from renderonline.client.fetch import Patience, Wanted, fetch
from renderonline.client.mirror import Mirror, Notice
from renderonline.client.sending import Sending, SendProgress
from renderonline.client.sources import DiskFile
from renderonline.client.submission import Submission, Wishes, choose_engine, prepare
from renderonline.client.transport import CONNECT_TIMEOUT_S, M, Transport
from renderonline.client.upload import EnqueueBody, Progress, Unreadable
from renderonline.client.uploads import NoProjects
from renderonline.frames import FrameSet

ROOT = "/renderapi/v1"

ENQUEUE_TIMEOUT_S = 600
"""The longest silence after an upload: the server may still be copying the project."""


class Client:
    """One user's connection to one farm. Not for several threads at a time; make one for each.

    Every method talks to the server and may raise Unreachable, NotAllowed, NotFound or Refused;
    what else it raises, it says.
    """

    def __init__(
        self,
        server: str,
        email: str,
        token: str,
        certificate: Path | None = None,
        notice: Notice | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Sends nothing. `server` is an address such as `https://farm.example:5000`.

        `certificate` is a PEM file: that certificate, or what it has signed, is trusted and nothing
        else. None: what this machine trusts. `fingerprint` (see `pinning`): the certificate that has it
        is trusted, and nothing else. `notice` is told, in a sentence, of a connection that
        broke and is made again. Raises Unusable where one of these cannot be meant.
        """
        self._notice = notice
        self._transport = Transport(server, email, token, certificate, fingerprint)

    @property
    def server(self) -> str:
        """The farm's address, `scheme://host[:port]`."""
        return self._transport.server

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens it again."""
        self._transport.close()

    def health(self) -> wire.HealthResponse:
        """Whether a farm answers there at all; needs no valid credentials."""
        return self._transport.get("/health", wire.HealthResponse)

    def info(self) -> wire.InfoResponse:
        """The user, and the newest 15 of the user's tasks."""
        return self._transport.get(f"{ROOT}/info", wire.InfoResponse)

    def engines(self) -> list[wire.EngineDetail]:
        """What the farm can render with, and the arguments that each engine takes."""
        return self._transport.get(f"{ROOT}/engines", wire.EnginesResponse).engines

    def tasks(
        self, after: int | None = None, limit: int | None = None, state: str | None = None
    ) -> wire.TasksResponse:
        """A page of the user's tasks, newest first; `after` is the `next` of the page before."""
        asked = {"after": after, "limit": limit, "state": state}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        return self._transport.get(f"{ROOT}/tasks", wire.TasksResponse, query)

    def task(self, task_id: int) -> wire.TaskDetail:
        """One task, with its attempts and warnings."""
        return self._transport.get(f"{ROOT}/tasks/{task_id}", wire.TaskDetail)

    def enqueue(
        self,
        project: Path | Bundle,
        engine: str | None = None,
        arguments: Mapping[str, str] | None = None,
        frames: FrameSet | None = None,
        progress: SendProgress | None = None,
        wishes: Wishes | None = None,
    ) -> int:
        """Check, upload and enqueue a project; the id of the task it becomes.

        A path is a file with all that it links to, none of which may be missing. `engine` is a name
        or an id; None chooses by the extension. Raises Unusable besides what `submit` raises.
        """
        bundle = complete(bundles.of(project)) if isinstance(project, Path) else project
        chosen = choose_engine(self.engines(), PurePath(bundle.main), engine)
        return self.submit(prepare(bundle, chosen, arguments or {}, frames, wishes), progress)

    def submit(self, submission: Submission, progress: SendProgress | None = None) -> int:
        """Upload what `prepare` has checked; the id of the task it becomes.

        Files that the farm has already are not sent, and an upload that breaks off is gone on with.
        An older farm takes one file, in one request. Raises ClientError besides, if a file cannot
        be read or is being changed.
        """
        sending = Sending(self._transport, submission.bundle, progress)
        try:
            request = submission.request()
            request.manifest = sending.run()
            answer = self._create_task(request)
            if answer is None:  # a file went between the question and the task
                request.manifest = sending.run()
                answer = self._create_task(request)
        except NoProjects:
            return self._enqueue_file(submission, progress)
        finally:
            sending.close()
        if answer is None:
            raise Refused("The farm does not keep the project's files.", "Its log may say why.")
        return answer.task_id

    def _create_task(self, request: wire.EnqueueRequest) -> wire.TaskCreated | None:
        """None: a file is not there."""
        response = self._transport.send(
            "POST",
            f"{ROOT}/tasks",
            data=wire.encode(request),
            headers={"Content-Type": "application/json"},
            timeout=(CONNECT_TIMEOUT_S, ENQUEUE_TIMEOUT_S),
        )
        code = "" if response.ok else self._transport.said(response).error
        if code == "missing_files":
            return None
        self._check_queue(response)
        return self._transport.read(response, wire.TaskCreated)

    def _check_queue(self, response: requests.Response) -> None:
        if response.status_code == 403:
            raise Refused(
                self._transport.said(response).error_message,
                "Wait until a task of yours is done, or cancel one.",
                "queue_full",
            )

    def _enqueue_file(self, submission: Submission, progress: SendProgress | None) -> int:
        """The original's request: one file. Raises Unusable for a project of several."""
        bundle = submission.bundle
        file = bundle.main_part.source
        if len(bundle.parts) > 1 or not isinstance(file, DiskFile):
            raise Unusable(
                f"{self.server} takes one file with a submission, and {bundle.origin} needs "
                f"{len(bundle.parts)}.",
                "Ask for an update of the farm, or pack them into the scene and send it alone "
                "(`--no-links`).",
            )
        name = PurePath(bundle.main).name
        told = None if progress is None else partial(_told, progress, name)
        try:
            body = EnqueueBody(file.path, wire.encode(submission.request()), told, name)
            response = self._transport.send(
                "POST",
                f"{ROOT}/enqueue",
                data=body,
                headers={"Content-Type": body.content_type},
                timeout=(CONNECT_TIMEOUT_S, ENQUEUE_TIMEOUT_S),
            )
        except Unreadable as error:
            raise ClientError(str(error), "Submit it again once it is saved.") from None
        self._check_queue(response)
        answer = self._transport.read(response, wire.EnqueueResponse)
        if answer.task_id is None:
            raise self._transport.another_kind(response)
        return answer.task_id

    # ------------------------------------------------------------------ what is done to a task

    def pause(self, task_id: int, now: bool = False) -> wire.TaskDetail:
        """No machine gets the task until it is resumed; those at work end the frame they are at.

        `now`: they stop at once, and what they have not saved is rendered again later.
        """
        return self._act(task_id, "pause", wire.PauseRequest(now=now))

    def resume(self, task_id: int) -> wire.TaskDetail:
        """Machines get a paused task again."""
        return self._act(task_id, "resume")

    def cancel(self, task_id: int) -> wire.TaskDetail:
        """Take a task out of the queue; where it is being rendered, that is stopped."""
        return self._act(task_id, "cancel")

    def requeue(self, task_id: int, frames: str = "failed") -> wire.TaskDetail:
        """Render frames again: "failed" and what is missing, "all", or a range such as "1-9"."""
        return self._act(task_id, "requeue", wire.RequeueRequest(frames=frames))

    def forgive(self, task_id: int, machine_id: int | None = None) -> wire.TaskDetail:
        """Let the machine, or every one, that has failed the task try it again at once."""
        return self._act(task_id, "forgive", wire.ForgiveRequest(machine_id=machine_id))

    def change(self, task_id: int, change: wire.TaskChange) -> wire.TaskDetail:
        """Change what was asked for; only the fields that are set."""
        return self._send("PATCH", f"tasks/{task_id}", wire.TaskDetail, change)

    def frames(
        self, task_id: int, first: int | None = None, limit: int | None = None
    ) -> wire.FramesResponse:
        """A page of a task's frames, from number `first` on."""
        asked = {"from": first, "limit": limit}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        return self._transport.get(f"{ROOT}/tasks/{task_id}/frames", wire.FramesResponse, query)

    # ------------------------------------------------------------------ machines

    def machines(self) -> list[wire.Machine]:
        """The farm's machines; an admin sees more of them."""
        return self._transport.get(f"{ROOT}/machines", wire.MachinesResponse).machines

    def change_machine(self, machine_id: int, change: wire.MachineChange) -> wire.Machine:
        """Change a machine; only the fields that are set. For admins."""
        return self._send("PATCH", f"machines/{machine_id}", wire.Machine, change)

    def act_on_machine(self, machine_id: int, verb: str) -> wire.Machine:
        """`drain`, `disable`, `enable` or `forgive` a machine. For admins."""
        return self._send("POST", f"machines/{machine_id}/{verb}", wire.Machine)

    # ------------------------------------------------------------------ the original's requests

    def dequeue(self, task_id: int) -> None:
        """Take a task out of the queue; if it is being rendered, that is stopped."""
        self._change("dequeue", task_id, wire.DequeueResponse)

    def delete(self, task_id: int) -> None:
        """Delete a task, its project and its results. If it is being rendered, that is stopped."""
        self._change("delete", task_id, wire.DeleteResponse)

    # ------------------------------------------------------------------ what has been rendered

    def download(
        self,
        task_id: int,
        file: Path,
        progress: Progress | None = None,
        only: str = "all",
        frames: str | None = None,
    ) -> None:
        """Save a task's whole folder, as far as it is there, as the ZIP archive `file`.

        `only="results"`: without the project; `frames`: the results of these. `file` appears when it
        is complete, and replaces one that was there. Of a task that is over, a download that broke
        off goes on where it did, also one of an earlier call. Raises ClientError if it cannot be
        written.
        """
        query = {"only": only, **({"frames": frames} if frames else {})}
        wanted = Wanted(f"{ROOT}/tasks/{task_id}/results.zip", query)
        try:
            fetch(self._transport, wanted, file, progress, Patience(self._notice))
        except OSError as error:
            raise not_written(file, error) from None

    def results(
        self,
        task_id: int,
        folder: Path,
        progress: Progress | None = None,
        whole: bool = False,
        frames: str | None = None,
    ) -> list[Path]:
        """Put what a task has rendered so far into `folder`; the paths of the files.

        `whole`: its project too, and the folders as the farm has them. `frames`: only files of
        these. A file of the same name is replaced, unless it is the same one already. Raises
        ClientError if one cannot be written.
        """
        if whole:
            return self._whole(task_id, folder, progress)
        mirror = self.mirror(task_id, folder, frames)
        mirror.step(progress)
        return mirror.files

    def mirror(self, task_id: int, folder: Path, frames: str | None = None) -> Mirror:
        """Keeps `folder` as the task's results are; nothing happens before its first `step`."""
        root = f"{ROOT}/tasks/{task_id}"
        return Mirror(self._transport, root, task_id, folder, frames, self._notice)

    def _whole(self, task_id: int, folder: Path, progress: Progress | None) -> list[Path]:
        packed = folder / f".renderonline-{task_id}.zip"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.download(task_id, packed, progress)
            # Inside the folder, so that renaming out of it stays on one disk.
            with tempfile.TemporaryDirectory(prefix=".renderonline-", dir=folder) as scratch:
                return archive.extract(packed, folder, Path(scratch))
        except archive.ArchiveError as error:
            raise Refused(f"The files of task {task_id} were not taken. {error}") from None
        except OSError as error:
            raise not_written(folder, error) from None
        finally:
            packed.unlink(missing_ok=True)

    def _act(self, task_id: int, verb: str, message: wire.Message | None = None) -> wire.TaskDetail:
        return self._send("POST", f"tasks/{task_id}/{verb}", wire.TaskDetail, message)

    def _send(
        self, method: str, route: str, shape: type[M], message: wire.Message | None = None
    ) -> M:
        """Send a message of ours, or nothing, as JSON; the answer."""
        response = self._transport.send(
            method,
            f"{ROOT}/{route}",
            data=b"" if message is None else wire.encode(message),
            headers={"Content-Type": "application/json"},
        )
        return self._transport.read(response, shape)

    def _change(self, verb: str, task_id: int, shape: type[M]) -> None:
        self._transport.read(self._post(verb, task_id), shape)

    def _post(self, verb: str, task_id: int) -> requests.Response:
        """Send one of the original's requests about a task; an answer that is a success."""
        response = self._transport.send(
            "POST",
            f"{ROOT}/{verb}",
            data=wire.encode(wire.TaskRequest(task_id=task_id)),
            headers={"Content-Type": "application/json"},
        )
        if response.status_code == 400:
            # The original's endpoints say 400 also where there is no such task: this says NotFound.
            self.task(task_id)
        self._transport.check(response)
        return response


def _told(progress: SendProgress, name: str, done_bytes: int, total_bytes: int | None) -> None:
    progress("uploading", done_bytes, total_bytes or 0, name)
