"""Beam without its messages."""

import logging

logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
