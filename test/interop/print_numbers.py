"""Prints arrays as NumPy does: print_numbers.py <JSON file with a list of {data, shape, width}>."""

import json
import sys

import numpy

with open(sys.argv[1]) as file:
    arrays = json.load(file)
texts = []
for array in arrays:
    values = [float(value) for value in array["data"]]
    numbers = numpy.array(values, dtype=numpy.float32).reshape(array["shape"])
    texts.append(numpy.array2string(numbers, precision=4, max_line_width=array["width"]))
print(json.dumps(texts))
