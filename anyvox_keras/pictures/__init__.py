"""Pictures of volumes, features and registrations, by matplotlib."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.pictures.curves import curves_picture as curves_picture
    from anyvox_keras.pictures.drawing import (
        checkerboard as checkerboard,
        planes as planes,
        save_figure as save_figure,
        style as style,
        window as window,
    )
    from anyvox_keras.pictures.html_page import (
        Link as Link,
        Page as Page,
        Table as Table,
        data_uri as data_uri,
        made_with_tables as made_with_tables,
        webp as webp,
    )
    from anyvox_keras.pictures.html_viewer import (
        Viewer as Viewer,
        warped_lines as warped_lines,
    )
    from anyvox_keras.pictures.registration_report import registration_report as registration_report
    from anyvox_keras.pictures.rows import (
        CasePicture as CasePicture,
        cases_picture as cases_picture,
        feature_pca as feature_pca,
        feature_picture as feature_picture,
        views_picture as views_picture,
    )

lazy(__name__)
