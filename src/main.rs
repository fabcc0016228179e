fn main(){ println!("{}", microservice_operator::api::crd_yaml().unwrap()); }
