"""One decorator that makes a class loadable by Keras."""

from typing import TypeVar

import keras

from anyvox_keras.saving import PACKAGE

Class = TypeVar("Class", bound=type)


def export(cls: Class) -> Class:
    """Register `cls` with Keras under this package's name, so that saved models load it.

    Unregistered classes are saved without complaint but cannot be loaded.
    """
    registered: Class = keras.saving.register_keras_serializable(package=PACKAGE)(cls)
    return registered
