"""One machine, nothing but Python: set-up, and real Kafka and Triton as supervised child processes."""
