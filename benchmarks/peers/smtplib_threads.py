"""smtplib_threads.py LETTER.eml PORT COUNT CONNECTIONS

One letter, made beforehand, sent again and again by smtplib in as many threads as connections. Nothing is filled in or
recorded. Prints {"seconds": ..., "sent": ...}.
"""

import json
import smtplib
import sys
import threading
import time
from pathlib import Path

LETTER = Path(sys.argv[1]).read_bytes()
PORT, COUNT, CONNECTIONS = (int(word) for word in sys.argv[2:5])
sent: list[int] = []


def _lane(count: int) -> None:
    with smtplib.SMTP("127.0.0.1", PORT, local_hostname="bench.example", timeout=60) as server:
        for number in range(count):
            server.sendmail("owner@acme.example", [f"p{number}@example.com"], LETTER, mail_options=["BODY=8BITMIME"])
    sent.append(count)


shares = [COUNT // CONNECTIONS + (lane < COUNT % CONNECTIONS) for lane in range(CONNECTIONS)]
lanes = [threading.Thread(target=_lane, args=(share,)) for share in shares if share]
start = time.perf_counter()
for lane in lanes:
    lane.start()
for lane in lanes:
    lane.join()
print(json.dumps({"seconds": time.perf_counter() - start, "sent": sum(sent)}))
