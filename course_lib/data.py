"""The data of the course, in one place: what notebooks and the trainer import.

* cracks, six classes: :class:`SDNET2018` (real, to be fetched),
  :class:`CrackFolder` (your own photos); the built-in default is
  ``course_lib.synthetic.SyntheticCracks``;
* digits: :func:`digits` (real, built in) and :func:`mnist`;
* around them: transforms, class weights and a fair sampler, splits by group, the
  decoded cache, and one photo's prediction.
"""

from course_lib.balance import balanced_sampler, class_weights
from course_lib.cache import CacheError, DecodedCache
from course_lib.classes import CRACK_CLASSES, SURFACES
from course_lib.digits import ArrayDataset, digits, mnist
from course_lib.download import DownloadError
from course_lib.folders import CrackFolder, PhotoDataset
from course_lib.photos import PhotoError, open_photo
from course_lib.predict import predict, predict_all
from course_lib.sdnet2018 import SDNET2018, download_sdnet2018
from course_lib.splits import SPLITS, split_by_group
from course_lib.transforms import (
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
