"""Connects to a port RATE times a second until stdin ends; prints how many connections there were, and how many failed."""
import select
import socket
import sys
import threading
import time

host, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
made, failed, lock = 0, {}, threading.Lock()


def knock():
    global made
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        with lock:
            failed[str(error)] = failed.get(str(error), 0) + 1
    with lock:
        made += 1


begin, number = time.monotonic(), 0
while not select.select([sys.stdin], [], [], max(0, begin + number / rate - time.monotonic()))[0]:
    threading.Thread(target=knock).start()
    number += 1
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(f"{made} connections at {made / (time.monotonic() - begin):.0f} a second, {sum(failed.values())} failed: {failed}")
sys.exit(bool(failed))
