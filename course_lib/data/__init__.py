"""The data of the course; each name is imported from the module that holds it.

From a folder to the network's input, in this order: :mod:`.folders` (which files are
photos, of which class), :mod:`.photos` (one file, decoded), :mod:`.preprocessing` (a
picture becomes bytes, bytes become inputs), :mod:`.cache` and :mod:`.images` (all bytes
of a data set), :mod:`.splits` (training, validation, test) and :mod:`.sources` (all of
this in one call). The data sets are :mod:`.digits`, :mod:`.sdnet2018`,
``course_lib.synthetic`` and your own folders.
"""
