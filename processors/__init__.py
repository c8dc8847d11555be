"""The logic of each stage: plain functions and classes, messages in, messages out; no Kafka, no sockets, no clock."""
