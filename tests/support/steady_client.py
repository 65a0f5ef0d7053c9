"""steady_client.py ADDRESS PORT HELD OUT: connects again and again, holds HELD connections, and keeps a tally in OUT."""
import json
import os
import select
import socket
import sys
import time

address, port, held_wanted, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
tally = {"made": 0, "failed": 0, "broken": 0, "first_failure": ""}


def fail(kind, why):
    tally[kind] += 1
    if not tally["first_failure"]:
        tally["first_failure"] = f"{time.time():.3f} {kind}: {why}"


def connect():
    with_greeting = socket.create_connection((address, port), timeout=5)
    if not with_greeting.recv(64):
        raise OSError("no greeting")
    return with_greeting


def save():
    with open(out + ".new", "w") as file:
        json.dump(tally, file)
    os.rename(out + ".new", out)


held = []
last_save = 0.0
while True:
    try:
        connection = connect()
        tally["made"] += 1
        if len(held) < held_wanted:
            held.append(connection)
        else:
            connection.close()
    except OSError as error:
        fail("failed", error)
    for connection in select.select(held, [], [], 0)[0]:
        try:
            ended = not connection.recv(64)
        except OSError:
            ended = True
        if ended:
            fail("broken", "a held connection ended")
            held.remove(connection)
    if time.monotonic() - last_save > 0.1:
        last_save = time.monotonic()
        save()
    time.sleep(0.01)
