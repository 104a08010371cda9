"""Measurements on real parts: speed beside what a user would pick instead, and peak memory."""
