"""Steps on the machines themselves: before Ray, its start, who may come in, its end."""

from __future__ import annotations

import time
from collections import Counter

from lab import filled_in, wait_for
from steps import CLUSTER, Steps


class Machines(Steps):
    """The doctor, `ray up`, the doors, `sweeps down`."""

    def doctor(self) -> None:
        """What is wrong before anything is started, on real machines."""
        refused = self.lab.on_laptop(f"sweeps submit sweeps/configs/digits.yaml {CLUSTER}", 2)
        assert "there is no token" in refused, refused
        self.lab.on_laptop("ray get-auth-token --generate && chmod 600 ~/.ray/auth_token")
        well = self.lab.on_laptop("sweeps doctor ~/lab.yaml").count("ok  ")
        self.say(f"doctor, status 0: {well} findings, all well")
        hidden = self.lab.workers[0].run("mount --bind /dev/null /usr/bin/rsync")
        assert not hidden.returncode, hidden.stderr
        port = self.lab.head.start_command("exec python3 -m http.server -b 127.0.0.1 6379")
        self.lab.on_laptop("chmod 644 ~/.ray/auth_token")
        wait_for("the port", lambda: any(p == 6379 for _, p, _ in self.lab.head.listening()))
        said = self.lab.on_laptop("sweeps doctor ~/lab.yaml", 2)
        wrong = [line for line in said.splitlines() if line.startswith("FAIL")]
        assert len(wrong) == 3 and all(word in said for word in ("rsync", "0644", "6379")), said
        for line in wrong:
            self.say(f"doctor, status 2: {line}")
        self.lab.on_laptop("chmod 600 ~/.ray/auth_token")
        self.lab.workers[0].run("umount /usr/bin/rsync")
        self.lab.head.run(r"kill $(ss -Hltnp 'sport = 6379' | grep -o 'pid=[0-9]*' | cut -d= -f2)")
        port.wait()
        self._unreachable()

    def _unreachable(self) -> None:
        text = filled_in()
        self.lab.on_laptop("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/other")
        self.lab.write("other.yaml", text.replace("id_ed25519", "other"))
        self.lab.write("away.yaml", text.replace("head_ip: 10.213.77.11", "head_ip: 10.213.77.99"))
        for file in ("other", "away"):
            said = self.lab.on_laptop(f"sweeps status --cluster ~/{file}.yaml", 3).strip()
            assert said.count("\n") == 0, said
            self.say(f"status 3: {said}")

    def up(self) -> None:
        """Three machines from the shipped file."""
        self.lab.on_laptop("test -f ~/.ray/auth_token || ray get-auth-token --generate")
        self.lab.on_laptop("chmod 600 ~/.ray/auth_token")
        start = time.monotonic()
        self.lab.on_laptop("ray up -y ~/lab.yaml --no-config-cache")
        first = time.monotonic() - start
        wait_for("three machines", lambda: self.lab.nodes() == 3)
        self.say(
            f"ray up: {first:.0f} s to the head, {time.monotonic() - start:.0f} s to all three"
        )

    def not_shared(self) -> None:
        """A folder of each machine's own is refused before the first trial."""
        said = self.lab.on_laptop(f"sweeps submit ~/first.yaml {CLUSTER} --storage /home/own", 2)
        line = next(line for line in said.splitlines() if line.startswith("error:"))
        assert "is not shared by all machines" in line and "lab2" in line and "lab3" in line, said
        self.say(f"storage not shared, status 2: {line}")

    def doors(self) -> None:
        """Every listening port of every host, tried by a stranger: none may be open."""
        places = {}
        for host in (self.lab.head, *self.lab.workers):
            for address, port, program in host.listening():
                kept = places.get((host, port), [program, True])[1]
                places[host, port] = [program, kept and address.endswith("127.0.0.1")]
        words = " ".join(f"{host.address}:{port}" for host, port in places)
        said = self.lab.on_laptop(f"python benchmarks/cluster/doors.py {words}").split("\n")
        verdicts = dict(line.split() for line in said if line.count(" ") == 1)
        for (host, port), (program, loopback) in places.items():
            verdict = verdicts[f"{host.address}:{port}"]
            where = "loopback, " if loopback else ""
            self.say(f"  {host.name} {port:>5} {program:<16} {where}{verdict}")
            assert verdict in ("key", "refused"), (host.name, port, program, verdict)
        answers = Counter(verdicts.values())
        self.say(f"{len(verdicts)} listening ports: {dict(answers)}; none open")
        owner = f"TOKEN=$(cat ~/.ray/auth_token) python benchmarks/cluster/doors.py {words}"
        assert self.lab.on_laptop(owner).count("OPEN") > 10, (
            "the owner's token opens nothing either"
        )
        self._wrong_token()

    def _wrong_token(self) -> None:
        submit = f"sweeps submit ~/first.yaml {CLUSTER}"
        wrong = (
            f"printf %064d 0 > ~/wrong && chmod 600 ~/wrong && RAY_AUTH_TOKEN_PATH=~/wrong {submit}"
        )
        said = self.lab.on_laptop(wrong, 3)
        self.say(f"wrong token, status 3: {said.strip().splitlines()[-1]}")

    def down(self) -> None:
        """Nothing of ours is left on any host."""
        self.lab.on_laptop("sweeps down ~/lab.yaml")
        wait_for("quiet hosts", lambda: not any(h.processes() for h in self.lab.hosts), 20)
        self.say("sweeps down: no process of ours on any host")
