"""The validation and release gate between fine-tuning a language model and serving it."""

__version__ = "0.1.0"
