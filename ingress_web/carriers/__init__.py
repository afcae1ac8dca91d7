"""Carriers: a webhook and a client of the REST API each, behind `carrier.Carrier`."""
