"""The figures: one file a figure, each from a record to Vega-Lite specifications."""
