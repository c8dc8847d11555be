"""How nodes of a PLC are named in a plant file."""

NODE_KINDS = ("s=", "i=", "g=", "b=")
"""How an OPC UA identifier begins (OPC 10000-6, 5.3.1.10): string, number, GUID, opaque."""
