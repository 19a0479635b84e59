"""What quantizers share: calibration inputs, importance, and the formats they write."""
