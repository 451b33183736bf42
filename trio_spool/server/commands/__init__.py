"""What clients can ask for, whatever protocol they speak: values in; operations, values or errors out; and what is counted of them.

A protocol turns its requests into calls of these, and what they return or raise into replies. Nothing here knows a frame, an
opcode or a status.
"""
