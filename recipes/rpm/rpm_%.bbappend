# rpm on the device sets the signatures of packages as security.ima.
require ${@bb.utils.contains('DISTRO_FEATURES', 'ima', 'rpm-imasign.inc', '', d)}
