"""Writes trained encoders as ONNX graphs from token ids to unit vectors."""
