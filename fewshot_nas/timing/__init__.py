"""Latency of networks on a device: blocks are measured, and added up for any arch."""
