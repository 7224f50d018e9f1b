"""Cannot migrate."""

raise SystemExit("column batch_no does not exist")
