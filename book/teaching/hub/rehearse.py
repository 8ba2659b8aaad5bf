"""Rehearse the first hour on your own hub: N students log in at once.

    python rehearse.py --hub https://HUB --students 20 --chapter lstm

Each of them starts a server, follows the nbgitpuller link, opens the chapter
and runs every cell. The report says how long each step took, and which cell
failed. The students are called rehearsal-1, rehearsal-2, ... and are deleted
at the end; their files stay where your hub keeps them.

JUPYTERHUB_API_TOKEN must hold a token of an administrator (admin:users,
admin:servers and access:servers are enough). Needs websocket-client, which
JupyterLab brings. On the hub's own machine, with --pid PID of the hub, it also
reports the memory of the hub and of all servers (then it needs psutil).
"""

import argparse
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

import websocket

REPOSITORY = "https://github.com/awdlib/awd-lstm-book"
BRANCH = "main"


class Student:
    """One student of the rehearsal, with a stopwatch."""

    def __init__(self, number, given, token):
        self.name = f"rehearsal-{number}"
        self.hub, self.repository = given.hub.rstrip("/"), given.repository
        self.chapter, self.token = given.chapter, token
        self.seconds = {}
        self.error = None

    def ask(self, path, method="GET", body=None):
        """A question to the hub, or to the student's server."""
        request = urllib.request.Request(
            self.hub + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        return urllib.request.urlopen(request, timeout=600)

    def timed(self, step, what):
        began = time.perf_counter()
        answer = what()
        self.seconds[step] = round(time.perf_counter() - began, 1)
        return answer

    def rehearse(self, together):
        """All steps of a first hour; what goes wrong is kept in `error`."""
        try:
            together.wait()
            self.timed("start", self.start)
            self.timed("pull", self.pull)
            kernel, cells = self.timed("open", self.open)
            self.timed("run", lambda: self.run(kernel, cells))
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        return self

    def start(self):
        """Start the server, and wait until it answers."""
        user = f"/hub/api/users/{self.name}"
        for path in (user, f"{user}/server"):
            try:
                self.ask(path, "POST").close()
            except urllib.error.HTTPError as error:
                if error.code not in (400, 409):  # there already
                    raise
        while True:
            with self.ask(user) as answer:
                servers = json.load(answer).get("servers", {})
            if servers.get("", {}).get("ready"):
                return
            if not servers:
                raise RuntimeError("the server did not start")
            time.sleep(0.5)

    def pull(self):
        """What the nbgitpuller link does."""
        target = self.repository.rstrip("/").rpartition("/")[2]
        query = urllib.parse.urlencode(
            {"repo": self.repository, "branch": BRANCH, "targetpath": target}
        )
        with self.ask(f"/user/{self.name}/git-pull/api?{query}") as answer:
            for line in answer:
                if not line.startswith(b"data:"):
                    continue
                said = json.loads(line[5:])
                if said["phase"] == "error":
                    raise RuntimeError(said.get("message", "git failed"))
                if said["phase"] == "finished":
                    return
        raise RuntimeError("the pull broke off")

    def open(self):
        """Read the notebook and start its kernel."""
        target = self.repository.rstrip("/").rpartition("/")[2]
        path = f"{target}/book/{self.chapter}.ipynb"
        base = f"/user/{self.name}/api"
        with self.ask(f"{base}/contents/{path}") as answer:
            cells = json.load(answer)["content"]["cells"]
        wanted = {
            "path": path,
            "name": self.chapter,
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        with self.ask(f"{base}/sessions", "POST", wanted) as answer:
            kernel = json.load(answer)["kernel"]["id"]
        return kernel, [one for one in cells if one["cell_type"] == "code"]

    def run(self, kernel, cells):
        """Every cell in turn, as Restart and Run All does."""
        address = self.hub.replace("http", "ws", 1)
        socket = websocket.create_connection(
            f"{address}/user/{self.name}/api/kernels/{kernel}/channels",
            header=[f"Authorization: token {self.token}"],
            timeout=600,
        )
        try:
            for number, cell in enumerate(cells, 1):
                self.execute(socket, number, "".join(cell["source"]))
        finally:
            socket.close()

    def execute(self, socket, number, code):
        sent = uuid.uuid4().hex
        header = {"msg_id": sent, "msg_type": "execute_request"}
        header |= {"username": self.name, "session": sent, "version": "5.3"}
        content = {"code": code, "silent": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}}
        message |= {"content": content, "channel": "shell", "buffers": []}
        socket.send(json.dumps(message))
        while True:
            said = socket.recv()
            if isinstance(said, bytes):  # a widget's numbers
                continue
            said = json.loads(said)
            kind, content = said["msg_type"], said["content"]
            if content.get("execution_state") in ("restarting", "dead"):
                raise RuntimeError(f"cell {number}: the kernel died")
            if said["parent_header"].get("msg_id") != sent:
                continue
            if kind == "execute_reply":
                if content["status"] == "error":
                    raise RuntimeError(f"cell {number}: {content['evalue']}")
                return

    def leave(self):
        """Stop the server and delete the user."""
        for path in ("/server", ""):
            try:
                user = f"/hub/api/users/{self.name}{path}"
                self.ask(user, "DELETE").close()
            except urllib.error.HTTPError:
                pass


def watched(pid, done, found):
    """Sample what the hub and all servers take; shared pages count once."""
    import psutil

    hub = psutil.Process(pid)
    while not done.wait(0.5):
        total = 0
        for one in [hub, *hub.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
            except psutil.Error:  # it has just ended
                continue
        found.append(round(total / 2**20))


def report(given, students, minutes, memory):
    """The figures of a rehearsal, as plain values."""
    steps = {
        step: [one.seconds[step] for one in students if step in one.seconds]
        for step in ("start", "pull", "open", "run")
    }
    return {
        "chapter": given.chapter,
        "students": len(students),
        "minutes": round(minutes, 2),
        "slowest_seconds": {k: max(v) for k, v in steps.items() if v},
        "memory_before": memory[0] if memory else None,
        "memory_at_most": max(memory) if memory else None,
        "errors": [f"{one.name}: {one.error}" for one in students if one.error],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hub", default="http://127.0.0.1:8000")
    parser.add_argument("--students", type=int, default=4)
    parser.add_argument("--chapter", default="lstm")
    parser.add_argument("--repository", default=REPOSITORY)
    parser.add_argument("--pid", type=int, help="process id of the hub")
    given = parser.parse_args()
    token = os.environ["JUPYTERHUB_API_TOKEN"]
    count = given.students
    students = [Student(n, given, token) for n in range(1, count + 1)]
    together, done = threading.Barrier(count), threading.Event()
    memory = []
    if given.pid:
        watch = threading.Thread(
            target=watched, args=(given.pid, done, memory), daemon=True
        )
        watch.start()
        time.sleep(2)
    began = time.perf_counter()
    try:
        with ThreadPoolExecutor(count) as pool:
            [*pool.map(lambda one: one.rehearse(together), students)]
    finally:
        minutes = (time.perf_counter() - began) / 60
        done.set()
        for one in students:
            one.leave()
    print(json.dumps(report(given, students, minutes, memory), indent=1))


if __name__ == "__main__":
    main()
