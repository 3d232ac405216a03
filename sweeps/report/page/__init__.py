"""The report as one HTML page that needs no network: `build` joins what the other modules make.

Each module gives `Section`s (layout.py) of text, a table and plotly figures; the template draws
them. Only `build` knows their order.
"""
