"""Runs one part of the AWS tests until its standard input ends, so that it cannot outlive the test that started it.

    python emulator.py moto              # the strict emulator; prints "ready PORT"
    python emulator.py faults UPSTREAM   # the proxy that injects faults; prints "ready PORT"
    python emulator.py boto ENDPOINT     # runs scripts: one JSON string a line in, one JSON value a line out
"""

import json
import os
import socket
import sys
import threading
import time
import traceback

# Nothing of this machine's configuration may reach the tests.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = "/nonexistent"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def end_with_standard_input():
    def watch():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def moto():
    end_with_standard_input()
    import moto_strict

    server = moto_strict.make_server("127.0.0.1", 0, moto_strict.application(), threaded=True)
    print("ready", server.server_port, flush=True)
    server.serve_forever()


def faults(upstream):
    end_with_standard_input()
    from microburst.cli import main

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ready():
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        sys.__stderr__.flush()
        os.write(1, f"ready {port}\n".encode())

    threading.Thread(target=ready, daemon=True).start()
    main(["--host", "127.0.0.1", "--port", str(port), "--upstream", upstream, "--no-resign"])


def boto(endpoint):
    import boto3
    from botocore.config import Config

    def client(service, key="testing", secret="testing"):
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name="us-east-2",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )

    known = {"client": client, "json": json}
    for service in ("ec2", "eks", "iam"):
        known[service] = client(service)
    print("ready 0", flush=True)
    for line in sys.stdin:
        known["out"] = None
        try:
            exec(json.loads(line), known)
            answer = {"out": known["out"]}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    {"moto": moto, "faults": faults, "boto": boto}[sys.argv[1]](*sys.argv[2:])
