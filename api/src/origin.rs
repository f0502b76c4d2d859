// SPDX-License-Identifier: Apache-2.0
//! Configurations of functions: a function comes from one of several origins. In documents each origin is a field, of
//! which exactly one is there; here they are one enum.

/// Defines a function's configuration, its origin, and its form in documents, all from one list of fields.
macro_rules! function_config {
    (
        $(#[$meta:meta])*
        pub struct $config:ident, in documents $document:ident $name:tt {
            $(#[$id_meta:meta])*
            pub id: $id_type:ty,
            $(#[$origin_meta:meta])*
            pub origin: enum $origin:ident {
                $($(#[$variant_meta:meta])* $field:ident, option $option:tt: $variant:ident($type:ty),)+
            }
            $($(#[$common_meta:meta])* pub $common:ident: $common_type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
        #[serde(try_from = $name, into = $name)]
        pub struct $config {
            $(#[$id_meta])*
            pub id: $id_type,
            $(#[$origin_meta])*
            pub origin: $origin,
            $($(#[$common_meta])* pub $common: $common_type,)*
        }

        $(#[$origin_meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $origin {
            $($(#[$variant_meta])* $variant($type),)+
        }

        $(#[$meta])*
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $document {
            $(#[$id_meta])*
            id: $id_type,
            $(
                $(#[$variant_meta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schemars(extend("x-option" = $option, "x-alternative" = true))]
                $field: Option<$type>,
            )+
            $($(#[$common_meta])* $common: $common_type,)*
        }

        impl $config {
            /// Its fields in documents.
            pub(crate) const FIELDS: &[&str] =
                &[stringify!(id), $(stringify!($field),)+ $(stringify!($common),)*];
        }

        impl TryFrom<$document> for $config {
            type Error = String;

            fn try_from(document: $document) -> Result<Self, String> {
                let mut origins = [$(document.$field.map($origin::$variant)),+].into_iter().flatten();
                match (origins.next(), origins.next()) {
                    (Some(origin), None) => Ok(Self { id: document.id, origin, $($common: document.$common,)* }),
                    _ => Err($crate::origin::choose(&[$(stringify!($field)),+])),
                }
            }
        }

        impl From<$config> for $document {
            fn from(config: $config) -> Self {
                let mut document = Self { id: config.id, $($field: None,)+ $($common: config.$common,)* };
                match config.origin {
                    $($origin::$variant(origin) => document.$field = Some(origin),)+
                }
                document
            }
        }
    };
}

pub(crate) use function_config;

/// What is wrong with a document that has none or several of these fields.
pub(crate) fn choose(fields: &[&str]) -> String {
    match fields {
        [all @ .., last] if !all.is_empty() => format!("give exactly one of {} and {last}", all.join(", ")),
        _ => format!("give {}", fields.concat()),
    }
}
