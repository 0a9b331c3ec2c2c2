"""The data of the course, in one place: what notebooks and the trainer import.

* cracks, six classes: :class:`SDNET2018` (real, to be fetched),
  :class:`CrackFolder` (your own photos); the built-in default is
  ``course_lib.synthetic.SyntheticCracks``;
* digits: :func:`digits` (real, built in) and :func:`mnist`;
* around them: transforms, class weights and a fair sampler, splits by group, the
  decoded cache, and one photo's prediction.
"""

from course_lib.data.balance import balanced_sampler, class_weights
from course_lib.data.cache import CacheError, DecodedCache
from course_lib.data.classes import CRACK_CLASSES, SURFACES
from course_lib.data.digit_sets import ArrayDataset, digits, mnist
from course_lib.data.download import DownloadError
from course_lib.data.folders import CrackFolder, PhotoDataset
from course_lib.data.photos import PhotoError, open_photo
from course_lib.data.prediction import predict, predict_all
from course_lib.data.sdnet2018 import SDNET2018, download_sdnet2018
from course_lib.data.splits import SPLITS, split_by_group
from course_lib.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    channel_statistics,
    denormalize,
    evaluation_transform,
    training_transform,
)

__all__ = [
    "CRACK_CLASSES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SDNET2018",
    "SPLITS",
    "SURFACES",
    "ArrayDataset",
    "CacheError",
    "CrackFolder",
    "DecodedCache",
    "DownloadError",
    "PhotoDataset",
    "PhotoError",
    "balanced_sampler",
    "channel_statistics",
    "class_weights",
    "denormalize",
    "digits",
    "download_sdnet2018",
    "evaluation_transform",
    "mnist",
    "open_photo",
    "predict",
    "predict_all",
    "split_by_group",
    "training_transform",
]
